"""Write a page and tables of the results below a folder."""
