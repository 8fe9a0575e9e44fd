"""Networks for use without Netwright: as Python source, `torch.export` program, ONNX, Graphviz."""
