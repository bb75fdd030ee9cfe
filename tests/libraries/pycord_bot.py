"""py-cord: what a bot usually does, against the server at DISCORD_API_URL."""

import os

import discord

discord.http.Route.API_BASE_URL = os.environ["DISCORD_API_URL"]

bot = discord.Bot(intents=discord.Intents.default())


@bot.slash_command(description="Greets")
async def hello(context: discord.ApplicationContext, name: str) -> None:
    await context.respond(f"hello {name}")


@bot.slash_command(description="Does what bots do")
async def work(context: discord.ApplicationContext) -> None:
    await context.defer()
    async with context.channel.typing():
        message = await context.channel.send("first")
    await message.edit(content="second")
    await message.add_reaction("👍")
    fetched = await context.channel.fetch_message(message.id)
    assert fetched.content == "second"
    assert [str(each.emoji) for each in fetched.reactions] == ["👍"]
    assert [user.id async for user in fetched.reactions[0].users()] == [bot.user.id]
    assert [each.content async for each in context.channel.history(limit=1)] == ["second"]
    await message.remove_reaction("👍", bot.user)
    await message.delete()
    await context.followup.send("done")
    followup = await context.followup.send("more", wait=True)
    await followup.edit(content="more, edited")
    await followup.delete()


bot.run(os.environ["DISCORD_BOT_TOKEN"])
