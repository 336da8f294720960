"""The world behind the API: guests, tasks, and what a person does to them."""
