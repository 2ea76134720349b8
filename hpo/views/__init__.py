"""What is shown: text, pictures, exports; reads and never writes."""
