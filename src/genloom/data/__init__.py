"""From what a person has (a folder, an archive, an array, a name) to encoded examples in three splits."""
