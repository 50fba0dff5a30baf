"""What the workflow's jobs do. A model is named by its keys, `Cell`, and its files follow from them."""
