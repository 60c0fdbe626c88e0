"""HTTP applications: the table service's front end and the launch API. Each takes its ports and returns an app."""
