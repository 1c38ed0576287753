"""The prompt store: named templates in immutable versions, what they become for a request, and who may change them."""
