"""Who may enter, and how: certificates, revocation, TLS of both ends of a connection."""
