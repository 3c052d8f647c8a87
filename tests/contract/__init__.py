"""What several implementations promise alike: drivers over a real mount, dialects over a real service."""
