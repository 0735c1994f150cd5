"""The xCos metric: grid cosine S, attention W, score = <S, W>."""
