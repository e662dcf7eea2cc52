"""The study, the one record of a search, and everything that lies in its folder."""
