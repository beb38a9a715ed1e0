"""Amazon Bedrock's Converse API and its embedding models."""
