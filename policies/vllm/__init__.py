"""vLLM's asynchronous engine in this process."""
