"""Firewall rules as values: chains, an endpoint's rules, how they are applied, conntrack, the ruleset generation."""
