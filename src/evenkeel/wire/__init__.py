"""DNS messages as octets, for the two hot paths: encoding updates and answering queries."""
