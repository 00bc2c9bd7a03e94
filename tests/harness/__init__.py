"""What the tests and the bench share: throw-away hosts, the program under test in them, servers, terminals, samples."""
