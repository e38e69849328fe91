"""Files that hold networks: fastnn's own model files, and other libraries' formats."""
