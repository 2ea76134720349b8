"""A trained network as a file, and what it says of pictures; needs neither data set nor database."""
