"""For authors of plugins and services, and for our own tests: contract suites and real servers."""
