"""Run folders: the ledger, the checkpoints and the configuration of one search."""
