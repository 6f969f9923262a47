"""What runs and tables are known by: the code that is reached, arrays, versions, the commit."""
