"""The service: verdicts, vectors and galleries over HTTP, with bounds on everything (needs the extra ``serve``)."""
