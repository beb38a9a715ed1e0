"""A mock of Amazon Bedrock."""
