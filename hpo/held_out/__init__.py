"""The one way to the test images; every look at them is a row."""
