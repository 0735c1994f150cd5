"""The page that shows an explanation: one component for reports, notebooks, the service and the browser."""
