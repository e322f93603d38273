"""Looking at the images before anything is trained: what is broken, twice, contradictory or left out."""
