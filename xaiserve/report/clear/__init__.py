"""The report of CLEAR Image: words, numbers, pictures and charts."""
