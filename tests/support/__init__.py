"""What the tests share: real processes, real servers, real clients."""
