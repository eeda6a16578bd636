"""Tests against real model servers, each installed by itself; see docs/MODEL_SERVERS.md."""
