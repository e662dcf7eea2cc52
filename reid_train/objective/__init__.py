"""What training minimises: losses and their weighted sum."""
