"""Plans answered by classifiers in other processes: one image on many workers."""
