"""Who is it: candidates from a gallery, how uncertain the answer is, and which parts of the face it hangs on."""
