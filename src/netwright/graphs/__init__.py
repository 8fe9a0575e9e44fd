"""Architecture graphs: the batch type, what a layout allows, DAG algorithms, keys, encodings."""
