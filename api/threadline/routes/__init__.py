"""One module per group of routes: HTTP in, one function call, HTTP out."""
