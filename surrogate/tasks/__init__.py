"""Define what is predicted from what."""
