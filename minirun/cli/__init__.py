"""docker's command line: options in, text out. `commands` knows which room has the module of each verb."""
