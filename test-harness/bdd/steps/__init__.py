"""What the words of the features do. Steps touch the product from outside only."""
