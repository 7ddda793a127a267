"""The protocols of KServe: v1, and the Open Inference Protocol."""
