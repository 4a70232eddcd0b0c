# wan
