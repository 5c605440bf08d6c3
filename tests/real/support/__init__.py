"""What the tests with real parts stand on: processes, the gateway, a connector, and the servers as they are set up."""
