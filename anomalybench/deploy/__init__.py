"""What puts a fitted method to work: its folder, its predictions, its export; never imports the bench."""
