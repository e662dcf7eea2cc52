"""What a picture is and how it reaches the model. Imports nothing from the other packages."""
