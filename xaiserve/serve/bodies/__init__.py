"""What the service says, as bodies: each field described once, for the OpenAPI document too."""
