"""Who speaks which format, where: providers as rows of data. Pure."""
