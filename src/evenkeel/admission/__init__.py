"""Overload control that the systems share."""
