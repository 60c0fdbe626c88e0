"""One module a kind of component; each has `async def main(runtime: Runtime) -> None`."""
