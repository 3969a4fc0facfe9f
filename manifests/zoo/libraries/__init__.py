"""One module a library: `version()` and `rows()` of what is installed. Each is imported by need."""
