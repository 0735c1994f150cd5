"""The study of a plug-in on a frozen network."""
