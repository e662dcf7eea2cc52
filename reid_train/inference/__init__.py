"""What a trained model is used for: embeddings, search in a gallery, export, evaluation on test images."""
