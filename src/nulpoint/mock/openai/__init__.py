"""Mocks of the OpenAI API and of Azure OpenAI."""
