"""The routes, one file per kind of question: each makes a router over a `Service`."""
