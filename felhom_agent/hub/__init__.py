"""The provider's side: reports to a hub, and fetches what it desires.

The agent calls, never the hub, and the hub is the least trusted party. It can ask for what can be
undone, and for nothing else; it holds no key and has no inbound access; and when it is silent,
wrong or hostile the host goes on with what it last knew.
"""
