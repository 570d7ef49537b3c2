"""ComfyUI's workflows: read, checked, run and drawn, with nodes that answer as ComfyUI's do."""
